"""Operations from their creation to their result: submission, reports of the engine, and events for clients."""
