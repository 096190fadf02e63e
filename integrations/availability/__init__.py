"""What a heartbeat was at each moment: the stored periods, and the numbers and strips that follow from them."""
