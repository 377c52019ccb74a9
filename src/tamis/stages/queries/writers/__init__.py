"""Who writes queries: language models here and behind servers, and extracts."""
