//! The built program, run as users run it.
