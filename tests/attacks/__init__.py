"""What a malicious tenant may try, from hooks of a real instance behind the real edge."""
