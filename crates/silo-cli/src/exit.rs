//! Exit codes: the same number has the same meaning in every tool.

/// The command failed.
pub const EXIT_FAILED: u8 = 1;
/// Data is not what it should be: stored data differs from what was written, or a file cannot be read as what it is.
pub const EXIT_CORRUPT: u8 = 2;
/// No verdict, because a server did not answer reliably.
pub const EXIT_INCONCLUSIVE: u8 = 3;
/// A backup was made and is kept, and is not counted as good.
pub const EXIT_HELD: u8 = 4;
/// Another run has the lease.
pub const EXIT_BUSY: u8 = 5;
/// Refused, because it could harm what must not be harmed.
pub const EXIT_REFUSED: u8 = 6;
/// Done, and the result differs from what it should be identical to.
pub const EXIT_DIFFERENT: u8 = 7;
/// The command line cannot be understood (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
