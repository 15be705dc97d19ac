"""What antiphon-nano hears: voices that ask and read, tones and noise, and the frames made of them."""
