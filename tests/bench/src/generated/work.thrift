namespace rs work

struct Receipt {
    1: required i64 id,
    2: required i64 balance,
}

struct Transfer {
    1: required string from,
    2: required string to,
    3: required i64 amount,
}

service Work {
    Receipt plain(1: Transfer transfer),
}
