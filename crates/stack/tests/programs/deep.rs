//! Recursion, closures, threads and a caught panic that map memory.

use std::collections::HashMap;
use std::thread;

#[inline(never)]
fn deep(n: u32, work: &mut dyn FnMut()) -> u32 {
    if n == 0 { work(); 0 } else { 1 + deep(n - 1, work) + std::hint::black_box(0) }
}

struct Loud(Vec<u8>);
impl Drop for Loud {
    fn drop(&mut self) { self.0.shrink_to_fit(); }
}

fn main() {
    let mut kept = Vec::new();
    deep(20, &mut || kept.push(vec![1u8; 300_000]));
    let mut map: HashMap<u32, Vec<u8>> = HashMap::new();
    for i in 0..5 { map.entry(i).or_default().resize(200_000, 1); }
    let threads: Vec<_> = (0..3).map(|i| thread::spawn(move || deep(i, &mut || drop(vec![0u8; 400_000])))).collect();
    for t in threads { t.join().unwrap(); }
    let _ = std::panic::catch_unwind(|| { let _l = Loud(vec![0; 500_000]); deep(3, &mut || panic!("oh")); });
    let mut words: Vec<String> = (0..2000).map(|i| format!("{}", i * 7919 % 2000)).collect();
    words.sort_by_key(|w| std::hint::black_box(w.len()));
    println!("{} {}", map.len(), words.len());
}
