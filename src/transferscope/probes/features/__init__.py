"""Features: what layers compute, and how alike it is (CKA, nearest neighbours, Procrustes, transferability)."""
