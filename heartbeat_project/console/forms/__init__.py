"""What people send from the console, one module for the forms of each page."""
