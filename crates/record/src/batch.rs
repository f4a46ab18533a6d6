//! Rows on their way in: columns found by name, every type checked.

use crate::error::RecordError;
use crate::table::{Kind, Table};
use arrow_array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, new_null_array};
use std::sync::Arc;

enum Values {
    /// Not there: every value is nothing.
    Absent,
    Int(Int64Array),
    Word(StringArray),
    Bytes(BinaryArray),
}

/// Some rows of a table.
pub(crate) struct Batch {
    table: &'static Table,
    columns: Vec<Values>,
    rows: usize,
    /// The file they come from, for messages.
    pub(crate) file: String,
}

impl Batch {
    /// Finds the columns; those that this version does not know are left alone.
    pub(crate) fn new(table: &'static Table, batch: &RecordBatch, file: &str) -> Result<Batch, RecordError> {
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in table.columns {
            let typed = column_of(batch, column.name)
                .as_ref()
                .map_or(Some(Values::Absent), |array| typed(array, column.kind));
            columns.push(typed.ok_or_else(|| {
                RecordError::damaged(file, None, format!("column {} is of another type", column.name))
            })?);
        }
        Ok(Batch { table, columns, rows: batch.num_rows(), file: file.to_owned() })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    pub(crate) fn row(&self, row: usize) -> Row<'_> {
        Row { batch: self, row }
    }
}

/// A column, where it is there.
fn column_of(batch: &RecordBatch, name: &str) -> Option<ArrayRef> {
    let column = batch.column_by_name(name).cloned();
    column.or_else(|| if name == "ended" { ended(batch) } else { None })
}

/// When each event ended, in a version before 4, which has the time of its beginning instead.
fn ended(batch: &RecordBatch) -> Option<ArrayRef> {
    let times = |name| batch.column_by_name(name)?.as_any().downcast_ref::<Int64Array>();
    let (entered, took) = (times("entered")?, times("took")?);
    let sum = |(entered, took): (Option<i64>, Option<i64>)| Some(entered?.wrapping_add(took?));
    Some(Arc::new(entered.iter().zip(took).map(sum).collect::<Int64Array>()))
}

fn typed(array: &ArrayRef, kind: Kind) -> Option<Values> {
    let any = array.as_any();
    match kind {
        Kind::Delta | Kind::Plain | Kind::Again | Kind::Few => {
            any.downcast_ref::<Int64Array>().cloned().map(Values::Int)
        }
        Kind::Word => any.downcast_ref::<StringArray>().cloned().map(Values::Word),
        Kind::Bytes => any.downcast_ref::<BinaryArray>().cloned().map(Values::Bytes),
    }
}

/// The same rows with every column of the table, as Parquet files have them.
pub(crate) fn complete(table: &Table, batch: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let schema = table.schema();
    let column = |field: &arrow_schema::FieldRef| match column_of(batch, field.name()) {
        Some(array) => array,
        None => new_null_array(field.data_type(), batch.num_rows()),
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema, columns)
}

/// One row of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    batch: &'a Batch,
    row: usize,
}

impl<'a> Row<'a> {
    /// A number, where there is one.
    pub(crate) fn get(&self, column: usize) -> Option<i64> {
        match self.batch.columns.get(column)? {
            Values::Int(values) if self.row < values.len() && values.is_valid(self.row) => {
                Some(values.value(self.row))
            }
            _ => None,
        }
    }

    /// A word, where there is one.
    pub(crate) fn word(&self, column: usize) -> Option<&'a str> {
        match self.batch.columns.get(column)? {
            Values::Word(values) if self.row < values.len() && values.is_valid(self.row) => {
                Some(values.value(self.row))
            }
            _ => None,
        }
    }

    /// Bytes, where there are some.
    pub(crate) fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        match self.batch.columns.get(column)? {
            Values::Bytes(values) if self.row < values.len() && values.is_valid(self.row) => {
                Some(values.value(self.row))
            }
            _ => None,
        }
    }

    /// A number that must be there and fit.
    pub(crate) fn need<T: TryFrom<i64>>(&self, column: usize) -> Result<T, RecordError> {
        self.get(column).and_then(|v| T::try_from(v).ok()).ok_or_else(|| self.wrong(column))
    }

    /// A number that fits where it is there.
    pub(crate) fn maybe<T: TryFrom<i64>>(&self, column: usize) -> Result<Option<T>, RecordError> {
        self.get(column).map(|v| T::try_from(v).map_err(|_| self.wrong(column))).transpose()
    }

    /// 64 bits that must be there.
    pub(crate) fn bits(&self, column: usize) -> Result<u64, RecordError> {
        self.get(column).map(|v| v as u64).ok_or_else(|| self.wrong(column))
    }

    /// That the value of a column makes no sense.
    pub(crate) fn wrong(&self, column: usize) -> RecordError {
        let name = self.batch.table.columns.get(column).map_or("", |c| c.name);
        let key = self.batch.table.columns.first().map_or("", |c| c.name);
        let place = self.get(0).map(|v| format!(" at {key} {v}")).unwrap_or_default();
        let what = format!("table {}: no sense in column {name}{place}", self.batch.table.name);
        RecordError::damaged(&self.batch.file, None, what)
    }
}
