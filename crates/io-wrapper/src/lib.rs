//! URL-addressed IO drivers modelled on POSIX open, read, write, seek and close.
