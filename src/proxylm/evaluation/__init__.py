"""Scores of a trained model (docs/evaluation.md, "Evaluation")."""
