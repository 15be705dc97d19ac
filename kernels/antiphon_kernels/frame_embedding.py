def frame_embedding(codes, table, offsets, text):
    return table[codes + offsets].sum(1) + text
