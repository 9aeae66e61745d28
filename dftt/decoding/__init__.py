"""How tokens are made: sampling with position-keyed noise, acceptance, guidance, and the one engine that uses them."""
