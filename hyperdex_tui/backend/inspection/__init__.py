"""What a child process works out about a program, so that the app's own process only paints."""
