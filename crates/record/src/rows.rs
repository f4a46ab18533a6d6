//! Rows on their way out: collected until they are a batch.

use crate::table::{Kind, Table};
use arrow_array::builder::{BinaryBuilder, Int64Builder, StringBuilder};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Schema};
use std::sync::Arc;

/// One value of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'a> {
    /// A number, or nothing.
    Int(Option<i64>),
    /// A word, or nothing.
    Word(Option<&'a str>),
    /// Bytes.
    Bytes(&'a [u8]),
}

#[derive(Debug)]
enum Buffer {
    Int(Int64Builder),
    Word(StringBuilder),
    Bytes(BinaryBuilder),
}

/// The rows of one table that are not yet written.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) table: &'static Table,
    buffers: Vec<Buffer>,
    len: usize,
    first: i64,
}

impl Rows {
    pub(crate) fn new(table: &'static Table) -> Rows {
        let buffers = table.columns.iter().map(|column| match column.kind {
            Kind::Delta | Kind::Plain | Kind::Again | Kind::Few => Buffer::Int(Int64Builder::new()),
            Kind::Word => Buffer::Word(StringBuilder::new()),
            Kind::Bytes => Buffer::Bytes(BinaryBuilder::new()),
        });
        Rows { table, buffers: buffers.collect(), len: 0, first: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a row; cells that are left out are nothing.
    pub(crate) fn push(&mut self, cells: &[Cell<'_>]) {
        debug_assert!(cells.len() <= self.buffers.len());
        if self.len == 0
            && let Some(Cell::Int(Some(first))) = cells.first()
        {
            self.first = *first;
        }
        for (index, buffer) in self.buffers.iter_mut().enumerate() {
            match (buffer, cells.get(index)) {
                (Buffer::Int(out), Some(Cell::Int(value))) => out.append_option(*value),
                (Buffer::Word(out), Some(Cell::Word(word))) => out.append_option(*word),
                (Buffer::Bytes(out), Some(Cell::Bytes(bytes))) => out.append_value(bytes),
                (Buffer::Int(out), _) => out.append_null(),
                (Buffer::Word(out), _) => out.append_null(),
                (Buffer::Bytes(out), _) => out.append_null(),
            }
        }
        self.len += 1;
    }

    /// What was collected, without the columns that are empty, and the key of its first row.
    pub(crate) fn take(&mut self) -> Result<(RecordBatch, i64), ArrowError> {
        let schema = self.table.schema();
        let len = std::mem::take(&mut self.len);
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for (field, buffer) in schema.fields().iter().zip(&mut self.buffers) {
            let array: ArrayRef = match buffer {
                Buffer::Int(out) => Arc::new(out.finish()),
                Buffer::Word(out) => Arc::new(out.finish()),
                Buffer::Bytes(out) => Arc::new(out.finish()),
            };
            if array.null_count() < array.len() {
                fields.push(Arc::clone(field));
                arrays.push(array);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
        Ok((batch, self.first))
    }
}
