"""Which strategy of fine-tuning suits some pictures: a rule, its measured numbers, its words."""
