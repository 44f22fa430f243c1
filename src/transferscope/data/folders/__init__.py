"""Folders of pictures: which folders are classes, which are splits, what lies beside them."""
