"""Operations on a real database."""
