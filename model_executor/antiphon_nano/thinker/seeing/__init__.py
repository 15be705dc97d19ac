"""What antiphon-nano is shown: things, pictures and clips drawn by chance, and the patches made of them."""
