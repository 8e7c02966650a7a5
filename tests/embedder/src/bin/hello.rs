//! What a program weighs without a vault (benches/embed).

fn main() {
    println!("hello");
}
