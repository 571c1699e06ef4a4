"""What each training picture's target is, where its label is not all there is to say."""
