use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: wordcount FILE")?;
    for (word, times) in wordcount::count(&fs::read_to_string(path)?).into_iter().take(3) {
        println!("{times} {word}");
    }
    Ok(())
}
