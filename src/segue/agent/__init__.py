"""Agent: any chat model that sees images, with SAM for the masks, behind the session's surface."""
