"""Images: decoding, preprocessing, views and the cache, shared by training and prediction."""
