"""Arrays in, pictures and pages out; nothing here knows what a result is."""
