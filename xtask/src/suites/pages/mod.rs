//! Pages: real programs of different make, stopped, and our figures beside those of smaps for each of their VMAs.

mod compare;
mod family;
mod programs;

use super::Watch;
use anyhow::{Result, bail};
use compare::{Compared, compare};
use family::Family;
use programs::{PROGRAMS, Started};
use std::path::Path;

pub(super) fn run(watch: &Watch, chosen: &[&str]) -> Result<()> {
    if let Some(unknown) = chosen.iter().find(|name| !PROGRAMS.iter().any(|program| program.name == **name)) {
        let names: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        bail!("no program {unknown}: {}", names.join(", "));
    }
    println!(
        "{:<12} {:>9} {:>6} {:>12} {:>10} {:>10} {:>8} {:>8} {:>8} {:>5}",
        "program",
        "processes",
        "VMAs",
        "resident",
        "huge",
        "swapped",
        "figures",
        "unknown",
        "unsteady",
        "diff"
    );
    let (mut wrong, mut skipped) = (Vec::new(), Vec::new());
    for program in PROGRAMS {
        // What changes the machine is done where it is asked for by name.
        let is_wanted = if chosen.is_empty() { !program.by_name } else { chosen.contains(&program.name) };
        if !is_wanted {
            continue;
        }
        let folder = Folder::new(program.name)?;
        match (program.start)(&folder.0)? {
            Started::Skipped(why) => {
                println!("{:<12} SKIPPED: {why}", program.name);
                skipped.push(program.name);
            }
            Started::Family(mut family) => {
                let sum = one(&watch.vmatlas, &mut family)?;
                println!(
                    "{:<12} {:>9} {:>6} {:>8} KiB {:>6} KiB {:>6} KiB {:>8} {:>8} {:>8} {:>5}",
                    program.name,
                    sum.processes,
                    sum.vmas,
                    sum.resident / 1024,
                    sum.huge / 1024,
                    sum.swapped / 1024,
                    sum.figures,
                    sum.unknown,
                    sum.unsteady,
                    sum.differences.len()
                );
                sum.differences.iter().take(10).for_each(|line| println!("    {line}"));
                if !sum.differences.is_empty() || sum.figures == 0 {
                    wrong.push(program.name);
                }
            }
        }
    }
    if !skipped.is_empty() {
        println!("skipped: {}", skipped.join(", "));
    }
    if !wrong.is_empty() {
        bail!("not equal: {}", wrong.join(", "));
    }
    Ok(())
}

fn one(vmatlas: &Path, family: &mut Family) -> Result<Compared> {
    let mut sum = Compared::default();
    for pid in family.stop()? {
        compare(vmatlas, pid, &mut sum)?;
    }
    Ok(sum)
}

/// A folder of a program that is gone when it is done.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("vmatlas-pages-{}-{name}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
