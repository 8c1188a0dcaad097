"""Every reader of what others wrote, fed damaged and hostile files: a valid result or one sentence, and no hang."""
