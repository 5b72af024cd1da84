//! The thin binary: calls cli and exits with its code.

fn main() -> std::process::ExitCode {
    perfbench::cli::main()
}
