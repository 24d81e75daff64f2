{#- The median of a list of numbers; of an even number of them the middle of the middle two. Null of
    an empty list. -#}
{%- macro median_of(numbers) -%}
    (
        get(array_sort({{ numbers }}), (size({{ numbers }}) - 1) div 2)
        + get(array_sort({{ numbers }}), size({{ numbers }}) div 2)
    ) / 2
{%- endmacro -%}
