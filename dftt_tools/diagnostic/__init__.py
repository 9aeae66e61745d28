"""The signal diagnostic: do the draft or the tapped layers know tokens of an answer that the target does not?"""
