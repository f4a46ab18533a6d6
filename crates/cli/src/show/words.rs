//! Names of columns and orders, as typed.

use vmatlas_view::show::{Column, Columns, Sort};

pub(crate) fn parse_sort(text: &str) -> Result<Sort, String> {
    if text == "address" {
        return Ok(Sort::Address);
    }
    let column = Column::from_id(text).filter(|column| column.is_amount());
    column.map(Sort::By).ok_or_else(|| format!("address, {}", names(|column| column.is_amount()).join(", ")))
}

/// The names of columns.
fn names(takes: impl Fn(Column) -> bool) -> Vec<&'static str> {
    Column::ALL.iter().filter(|column| takes(**column)).map(|column| column.id()).collect()
}

pub(crate) fn parse_columns(text: &str) -> Result<Columns, String> {
    match text {
        "default" => return Ok(Columns::Usual),
        "all" => return Ok(Columns::These(Column::ALL.to_vec())),
        _ => {}
    }
    let mut list = Vec::new();
    for word in text.split(',') {
        let column = Column::from_id(word).ok_or_else(|| {
            format!(
                "all, default, or some of {} (anon, swap, uss, thp and rss are understood too)",
                names(|_| true).join(", ")
            )
        })?;
        if !list.contains(&column) {
            list.push(column);
        }
    }
    Ok(Columns::These(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that lists are taken in their order, each column once, and that a wrong name lists what there is.
    #[test]
    fn lists_are_taken_in_order() {
        let these = |list: &[Column]| Ok(Columns::These(list.to_vec()));
        assert_eq!(parse_columns("name,uss,private"), these(&[Column::Name, Column::Private]));
        assert_eq!(parse_columns("default"), Ok(Columns::Usual));
        assert!(parse_columns("help").unwrap_err().contains("unevictable"));
        assert_eq!(parse_sort("swap"), Ok(Sort::By(Column::Swapped)));
        assert!(!parse_sort("kind").unwrap_err().contains("kind"));
    }
}
