"""Pictures from outside, made ready for a pipeline: decoded with limits, the subject cut out, recentred."""
