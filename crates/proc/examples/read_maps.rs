//! What reading a map costs, for the benchmark.
//!
//! `read_maps raw FILE N` reads the file N times with bare read(2) calls of 64 KiB · `read_maps parse FILE N` reads and
//! parses it. Prints the median microseconds of a reading, the number of rows, and bytes of memory per row at the peak.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;
use vmatlas_event::Pid;
use vmatlas_proc::MapsReader;
use vmatlas_proc::read::snapshot::Maps;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, mode, path, times] = args.as_slice() else { return Err("read_maps raw|parse FILE N".into()) };
    let before = peak_rss()?;
    let mut reader = MapsReader::new();
    let mut maps = Maps::default();
    let mut buffer = vec![0u8; 64 * 1024];
    let mut took = Vec::new();
    for _ in 0..times.parse::<usize>()?.max(1) {
        let start = Instant::now();
        match mode.as_str() {
            "raw" => raw(path, &mut buffer)?,
            _ => reader.read_file(Pid(0), Path::new(path), File::open(path)?, &mut maps)?,
        }
        took.push(start.elapsed().as_nanos() as f64 / 1e3);
    }
    took.sort_by(f64::total_cmp);
    let per_row = peak_rss()?.saturating_sub(before) as f64 / maps.rows.len().max(1) as f64;
    println!("{:.1} {} {:.1}", took[took.len() / 2], maps.rows.len(), per_row);
    Ok(())
}

fn raw(path: &str, buffer: &mut [u8]) -> io::Result<()> {
    let mut file = File::open(path)?;
    while file.read(buffer)? > 0 {}
    Ok(())
}

/// Our largest resident size so far in bytes.
fn peak_rss() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read("/proc/self/status")?;
    Ok(vmatlas_proc::parse::status::parse(&status).vm_hwm.ok_or("no VmHWM")?.0)
}
