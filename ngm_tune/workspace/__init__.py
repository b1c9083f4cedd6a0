"""One study in one results directory: lock, manifest, provenance, resume, warm start, doctor."""
