"""What the tests share: small languages to build a situation in, and checks that run at the end."""
