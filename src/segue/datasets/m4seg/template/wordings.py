"""How questions and closing sentences are phrased, several ways each.

Fields: `{x}` a name, `{xs}` its plural, `{y}` another name or phrase, `{be}` "is" or "are", `{k}` an image,
`{to}` a purpose ("to cut"), `{where}` "to the left of", `{side}` "left".
"""

from __future__ import annotations

COUNT = (
    "How many {xs} are there in each image, and where are there the most?",
    "Which image shows the most {xs}, and how many are in the others?",
    "Compare the number of {xs} across the images.",
    "How does the number of {xs} differ from image to image?",
    "Count the {xs} in every image. Which one has more?",
    "If I look for {xs}, in which image do I find most of them?",
    "Do all images show the same number of {xs}?",
    "How many {xs} can be seen in total, and how are they spread over the images?",
)
SAME_NUMBER = (
    "So {all} images show the same number of {xs}.",
    "The number of {xs} is the same in {all} images.",
    "There is no difference in the number of {xs}.",
)
MOST = (
    "So {k} has the most {xs}.",
    "{k} shows the most of them, out of {total} in total.",
    "That makes {total} {xs} in total, most of them in {k}.",
    "The largest number of {xs} is in {k}.",
)
LARGER = (
    "In which image {does} the {x} take up the most of the picture?",
    "Where {be} the {x} seen from nearest, judging by how much of the picture it fills?",
    "Compare how much of each picture the {x} fills.",
    "Which image shows the {x} at the largest scale?",
    "How much of the picture {does} the {x} cover in each image?",
    "By share of the picture, which image gives the {x} the most room?",
)
LARGER_END = (
    "So the {x} {be} shown largest in {k}.",
    "The {x} thus {be} most prominent in {k}.",
    "{k} shows the {x} at the largest scale.",
    "By this measure the {x} of {k} {be} the largest.",
)
LARGEST = (
    "Which annotated object fills the most of each picture, and by how much do the images differ?",
    "How much of each picture does its largest object fill?",
    "Compare the largest object of every image by its share of the picture.",
    "In which image does a single object dominate the most?",
    "What takes up the most room in each image, and how much is it?",
)
LARGEST_END = (
    "So a single object dominates {k} the most.",
    "The share is largest in {k}.",
    "Of all of them, {k} gives the most room to one object.",
)
MOST_PARTS = (
    "In which image can more parts of the {x} be made out?",
    "How many parts of the {x} can be told apart in each image?",
    "Which image shows the {x} in more detail, counted by its parts?",
    "Compare how many parts of the {xs} are marked in the images.",
    "For which of the {xs} are more parts annotated?",
)
MOST_PARTS_END = (
    "So more parts of the {x} can be made out in {k}.",
    "By number of parts, {k} shows the {x} in more detail.",
    "The {x} with more parts is that of {k}.",
)
PLACES = (
    "Where in the picture {be} the {x} in each image?",
    "How does the position of the {x} differ between the images?",
    "In which part of each picture {does} the {x} appear?",
    "Compare where the {x} can be found in the images.",
    "{does} the {x} stay in the same place from image to image?",
    "Looking at each image, where would I find the {x}?",
    "Does the photographer place the {x} alike in the images?",
)
SAME_PLACE = (
    "The position is the same in each case.",
    "So the place in the picture does not change.",
    "In this respect the images agree.",
)
OTHER_PLACE = (
    "So the position differs from image to image.",
    "No two of these positions are the same.",
    "The place in the picture changes each time.",
)
RELATIONS = (
    "How {be} the {x} placed relative to the {y} in each image?",
    "Compare the position of the {x} to that of the {y} in the images.",
    "On which side of the {y} {be} the {x} in each image?",
    "Does the arrangement of the {x} and the {y} change between the images?",
    "{be} the {x} on the same side of the {y} in all images?",
    "Describe how the {x} and the {y} lie to each other in every image.",
)
SAME_RELATION = (
    "The arrangement is the same in each.",
    "So they lie to each other in the same way.",
    "In this the images agree.",
)
OTHER_RELATION = (
    "So the arrangement is not the same.",
    "The arrangement differs between them.",
    "In this the images differ.",
)
BESIDE = (
    "What can be found {where} the {x} in each image?",
    "Looking {where} the {x}, what does each image show?",
    "What lies {where} the {x} from image to image?",
    "Compare what is {where} the {x} in the images.",
    "Tell me what is {where} the {x} in each of the pictures.",
    "Is the same thing {where} the {x} in all images?",
)
SIDES = ("left", "right", "top", "bottom")
ON_ONE_SIDE = (
    "What can be found at the {side} of each picture?",
    "Look at the {side} of every image. What is there?",
    "Compare what the images show at the {side}.",
    "Does the same thing appear at the {side} of all images?",
    "What does the {side} of each image hold?",
)
PURPOSE = (
    "What in each image is used {to}?",
    "Which things shown here serve {to}?",
    "If somebody wanted {to}, what would each image offer?",
    "Every image shows something made {to}. What is it?",
    "Compare what the images offer {to}.",
    "Point out what serves {to} in all of the images.",
    "What do these images have in common that helps {to}?",
)
SERVES = ("can be used", "would serve", "could be used", "can serve")
DIFFERENT_PURPOSES = (
    "Which parts of the objects in these images have different uses, and what are these uses?",
    "What different functions do parts of the objects serve in the images?",
    "Find a part with a use of its own in every image, and say what it is for.",
    "How do the functions of the parts shown in these images differ?",
    "For each image, name a part whose function sets it apart from the parts in the others.",
    "Compare the uses of one part from every image.",
)
VISIBLE_PARTS = (
    "Compare the {xs} in the images: which parts can be seen?",
    "Which parts of the {x} does each image show?",
    "How do the {xs} differ in what can be seen of them?",
    "Describe the {x} of each image by its visible parts.",
    "What can be made out of the {x} from image to image?",
    "Look at the {x} in every image. Which parts stand out?",
    "What would a viewer notice of the {x} in each of these images?",
)
ONLY_ONE = (
    "What do these images have in common, and what sets one of them apart?",
    "Which image shows something that the others do not, although they share other things?",
    "Compare the images: what is found in all of them, and what in one alone?",
    "What links these images, and where do they differ?",
    "Find something that every image shows and something that only one shows.",
    "In what are the images alike, and which one has something of its own?",
)
SHARED = (
    "All of the images share something: {both}.",
    "Every image shows this: {both}.",
    "Found in each of them: {both}.",
    "They have this in common: {both}.",
)
ALONE = (
    "Only {k} also shows {y}.",
    "What sets {k} apart: {y}.",
    "But {k} alone has {y}.",
    "No other image shows what {k} does: {y}.",
)
CONTENTS = (
    "How do the scenes in these images differ?",
    "What stands out in each of these images?",
    "Compare the main things that the images show.",
    "Describe how the images differ in what they show.",
    "How would you tell these images apart by their contents?",
    "What is each picture about, judging by the objects in it?",
)
