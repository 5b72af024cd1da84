//! The messages of pprof's profile.proto (github.com/google/pprof, proto/profile.proto), which
//! reading and writing such profiles have in common.
//!
//! A profile names everything by numbers: strings by their place in the table of strings, whose
//! first is empty; functions, locations and mappings by an id above 0.
//!
//! Must not: be changed without the format.

/// What a value of a sample, or the period, measures.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ValueType {
    /// Its name, a string's number.
    #[prost(int64, tag = "1")]
    pub kind: i64,
    /// Its unit, a string's number.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// One stack with its values.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sample {
    /// The locations, the innermost first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// A value for each sample type.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// What else is known.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

/// Something known of a sample: a text or a number.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Label {
    /// What, a string's number.
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// The text, a string's number.
    #[prost(int64, tag = "2")]
    pub str: i64,
    /// The number.
    #[prost(int64, tag = "3")]
    pub num: i64,
    /// Its unit, a string's number.
    #[prost(int64, tag = "4")]
    pub num_unit: i64,
}

/// A file that was mapped.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Mapping {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// First address.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// One past the last address.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// Where in the file the first address is.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// The file, a string's number.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// Its build id, a string's number.
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    /// Whether functions of it have names here.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    /// Whether they have files.
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    /// Whether locations have line numbers.
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    /// Whether locations have inlined functions.
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

/// An address, and the functions that it is in.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Location {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The file it is in; 0 when unknown.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// The address.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// The functions: the last one was called, each one before was inlined into the next.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// A function and the line in it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Line {
    /// The function.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    /// The line in its file, 0 when unknown.
    #[prost(int64, tag = "2")]
    pub line: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Function {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name for people, a string's number.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// Its name for the system, a string's number.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// Its file, a string's number.
    #[prost(int64, tag = "4")]
    pub filename: i64,
    /// The line it begins on.
    #[prost(int64, tag = "5")]
    pub start_line: i64,
}

/// The whole, for writing; it is read field by field.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Profile {
    /// What the values of samples measure.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// The samples.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// The files.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// The addresses.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// The functions.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// The strings, the first empty.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// Names of functions whose frames, and those they call, are to be left out: a regular
    /// expression, a string's number.
    #[prost(int64, tag = "7")]
    pub drop_frames: i64,
    /// Those of them that are to be kept all the same.
    #[prost(int64, tag = "8")]
    pub keep_frames: i64,
    /// When it was taken, ns since the Unix epoch.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// For how long, ns.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// What the period measures.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// So much lies between two samples.
    #[prost(int64, tag = "12")]
    pub period: i64,
    /// Remarks, strings' numbers.
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    /// The sample type to show first, a string's number.
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}
