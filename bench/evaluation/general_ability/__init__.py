"""General ability of an edited model: CSQA, MMLU, ANLI and SQuAD-2 (Table 2)."""
