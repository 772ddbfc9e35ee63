//! Writes the client's generated types to standard output.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

fn main() {
    print!("{}", greenroom_wire::typescript::generate());
}
