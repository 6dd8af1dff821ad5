// Texts are bytes. A text area holds characters, so a byte that is no UTF-8 stands in it as a lone
// surrogate (U+DC80 to U+DCFF), as in Python's "surrogateescape".

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function bytesOf(text) {
  if (!/[\udc80-\udcff]/.test(text)) return ENCODER.encode(text);
  const found = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) found.push(code - 0xdc00);
    else found.push(...ENCODER.encode(character));
  }
  return Uint8Array.from(found);
}

// Calls `valid(text)` and `alone(byte)` for what the bytes are made of, in order.
function walk(bytes, valid, alone) {
  try {
    valid(DECODER.decode(bytes));
    return;
  } catch { /* not all of it is UTF-8 */ }
  let at = 0;
  while (at < bytes.length) {
    let character = null;
    for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
      try {
        character = DECODER.decode(bytes.subarray(at, at + length));
        at += length;
        break;
      } catch { /* one byte more */ }
    }
    if (character === null) alone(bytes[at++]);
    else valid(character);
  }
}

export function textOf(bytes) {
  let text = "";
  walk(bytes, (part) => { text += part; }, (byte) => { text += String.fromCharCode(0xdc00 + byte); });
  return text;
}

const hex = (byte) => byte.toString(16).padStart(2, "0");

// Bytes as they can be shown: line ends with a sign, other controls and lone bytes as escapes.
export function shown(bytes, { breaks = true } = {}) {
  let text = "", escaped = false;
  const sign = (part) => {
    text += part.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (control) => {
      if (control === "\n") return breaks ? "⏎\n" : "⏎";
      if (control === "\t") return breaks ? "⇥\t" : "⇥";
      escaped = true;
      return control > "\u00ff" ? `\\u${control.charCodeAt(0).toString(16)}` : `\\x${hex(control.charCodeAt(0))}`;
    });
  };
  walk(bytes, sign, (byte) => { text += `\\x${hex(byte)}`; escaped = true; });
  return { text, escaped };
}

// In one line, spaces marked: for lists of strings and for screen readers.
export function named(bytes) {
  if (bytes.length === 0) return "nothing";
  return shown(bytes, { breaks: false }).text.replace(/ /g, "␣");
}

export const hexOf = (bytes, most = 24) =>
  [...bytes.subarray(0, most)].map(hex).join(" ") + (bytes.length > most ? " …" : "");

export function toBase64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(binary);
}

// The server writes URL-safe base64.
export function fromBase64(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
}
