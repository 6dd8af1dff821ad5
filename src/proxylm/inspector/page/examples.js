// Texts to begin with; ‸ is where the cursor stands.

export const EXAMPLES = {
  "Python": `def area(radius):
    """The area of a circle."""
    return 3.14159 * radius ** 2

for radius in ‸range(1, 4):
    print(f"{radius}: {area(radius):.2f}")
`,
  "Prose": `It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the ‸epoch of belief.
`,
  "Scripts": `Grüße aus Zürich! Το γρήγορο καφέ. Быстрая лиса.
素早い茶色の狐 — 🦊 ‸jumps, naïvely.
`,
  "JSON": `{"id": 17, "name": "Ada", "tags": ["x", "y"], "score": 0.9271,
 "nested": {"id": 18, "name": ‸"Bo", "tags": [], "score": null}}
`,
  "Numbers": `2026-11-29 07:53:11,204 INFO 127.0.0.1 GET /api/items?page=3 200 18 ms
2026-11-29 07:53:11,377 INFO 127.0.0.1 GET /api/items?page=4 200 21 ms
2026-11-29 07:53:12,008 WARN 127.0.0.1 GET /api/items?page=5 504 ‸1000 ms
`,
};
