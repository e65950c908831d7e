"""What each form of the encoder costs and keeps: vectors and neighbours against time and memory."""
