//! Log streams and outlets, and the mainlog, bouncelog, rejectlog and paniclog formats.
