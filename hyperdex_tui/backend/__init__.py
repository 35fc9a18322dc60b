"""The app's side of the compiler: reads the prefix, starts and follows jobs, serves rows. No widgets."""
