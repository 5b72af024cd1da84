//! The workbench room.
