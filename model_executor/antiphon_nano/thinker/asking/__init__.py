"""What antiphon-nano is asked, and what it answers: dialogues made by chance, kind by kind."""
