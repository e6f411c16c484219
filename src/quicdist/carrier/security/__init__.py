"""Who is let in: certificates, pre-shared keys, a callback."""
