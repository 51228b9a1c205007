class ReplyQueue:
    count: int
