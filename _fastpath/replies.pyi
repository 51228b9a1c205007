class ReplyQueue: 
    count: int
