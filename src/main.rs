//! The thin binary: calls cli and maps its result to an exit code.

fn main() {}
